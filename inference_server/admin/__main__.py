"""`python -m inference_server.admin`: the admin process. The supervisor starts it."""

from inference_server.supervision.processes import leave_signals_to_supervisor

leave_signals_to_supervisor()  # before all other imports, which take a moment

from inference_server.admin.main import main  # noqa: E402

main()
