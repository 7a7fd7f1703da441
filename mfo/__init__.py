"""How the orchestrator is started: command line, settings, telemetry, the embedded stack."""
