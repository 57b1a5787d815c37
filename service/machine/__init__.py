"""What the service needs from its machine: threads, processors, memory, durable files, SQLite."""
