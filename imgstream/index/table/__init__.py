"""The rows on disk: one memory-mapped Arrow file, and what was found out about the rows' files since.

columns.py       columns that grow in unnamed temporary files
table.py         Table: the mapped file
table_writer.py  rows in, a table out, in bounded memory
positions.py     positions in a table: what a selection is made of
file_facts.py    FileFacts: version, kind, size and orientation of the files that were opened
"""
