"""Programs and configurations, one folder a data set."""
