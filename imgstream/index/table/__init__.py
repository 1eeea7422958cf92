"""The rows of an index on disk: one memory-mapped Arrow file, and what is known about the rows' files.

columns.py       columns that grow in unnamed temporary files
table_writer.py  writes rows as a table, in bounded memory
table.py         Table: the mapped file
positions.py     positions of selected rows in a table
file_facts.py    FileFacts: version, kind, size and orientation of the files that were opened
"""
