"""What `ai-provider check` looks at, a section each; nothing here changes anything."""
