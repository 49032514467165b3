"""What the processes report: logs, traces and errors."""
