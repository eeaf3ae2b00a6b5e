"""Plans notifications: one for each rule and channel that an end or a hold matches."""
