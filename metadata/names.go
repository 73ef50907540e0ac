package metadata

import "fmt"

// MaxTopicName is the length of the longest topic name in bytes: with a partition number and a suffix behind it it must
// fit a file name of 255 bytes (rule 7.3.1).
const MaxTopicName = 249

// ClusterMetadataTopic is the name of Kafka's own metadata log, which no topic may have (rule 7.3.3).
const ClusterMetadataTopic = "__cluster_metadata"

// CheckTopicName says what is wrong with a topic's name, or nil (rule 7.3.1).
func CheckTopicName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("a topic's name cannot be empty")
	case name == "." || name == "..":
		return fmt.Errorf("a topic cannot be called %q", name)
	case len(name) > MaxTopicName:
		return fmt.Errorf("a topic's name has at most %d characters, and this has %d", MaxTopicName, len(name))
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return fmt.Errorf("topic name %q has a character that is not one of a-z, A-Z, 0-9, '.', '_' and '-'", name)
		}
	}
	return nil
}

// InternalTopic reports whether name is one of the topics that belong to a coordinator (rule 7.1.13).
func InternalTopic(name string) bool {
	switch name {
	case "__consumer_offsets", "__transaction_state", "__share_group_state":
		return true
	}
	return false
}
