"""Networks trained for a result: by run, file or name; evaluated and exported."""
