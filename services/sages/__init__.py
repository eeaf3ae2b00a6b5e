"""The sages: knowledge, task, incident, rag. The panel asks them at once about each job before it runs."""
