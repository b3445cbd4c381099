"""What people see of kdm's page, in Debian's Chromium."""
