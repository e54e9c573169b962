"""The admin process: here operators look at the backend and change it, by asking the supervisor."""
