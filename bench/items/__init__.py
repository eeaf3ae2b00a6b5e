"""Items a second of one job, beside what one writes by hand."""
