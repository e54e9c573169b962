"""`facet detect`: the faces in files and folders.

command   what is typed
options   what is wanted of each picture
pictures  which files are meant, and which of them are done already
service   has a service find the faces
local     has processes of its own find them; local_worker is such a process
output    where results go: table, NDJSON or CSV, by formats; records are what one consists of
files     pictures that are written, with faces drawn into them or cut out of them
run       all of it put together, with its summary and its exit status
"""
