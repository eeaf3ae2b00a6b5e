"""The panel: reads `job.accepted`, asks all sages, appends `job.advised`."""
