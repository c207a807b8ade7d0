"""The text layout of each kind of result: functions from a value to lines."""
