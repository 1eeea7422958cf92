"""What a person looks at: tables in the terminal and pages of pictures."""
