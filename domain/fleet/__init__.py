"""What concerns many flows of a tenant at once: operations, standing pauses, and rules that pause by themselves."""
