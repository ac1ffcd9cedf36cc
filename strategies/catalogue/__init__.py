"""The published schedules, one small file each."""
