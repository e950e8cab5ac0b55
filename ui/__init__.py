"""The page in the browser and the export: what people see of the pipeline. Reads topics and tables; replays dead letters."""
