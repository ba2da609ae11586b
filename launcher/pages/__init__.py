"""What people look at: the status document, the table, the picture and the report."""
