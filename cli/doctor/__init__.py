"""`facet doctor`: what this machine has, which engine runs and why, what is wrong, and what helps.

command    what is typed, and the report
findings   what a check tells
machine    CPUs, memory, files, packages
engine     what searches pictures
places     folders, addresses, certificates, and the backend that runs already
settings   all settings with their values and where these come from
"""
