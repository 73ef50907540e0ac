package group

// offsets are the committed offsets of a group.
type offsets struct{}
