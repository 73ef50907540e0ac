package handler

// Feature is a feature of the cluster and the levels of it that this broker supports (rule 1.4.8).
type Feature struct {
	Name     string
	Min, Max int16
	// Initial is the level that a new cluster is finalized at, as Kafka 4.3.1 finalizes it. A cluster that is older than
	// the feature stays without it until somebody asks for it (UpdateFeatures, kafka-features).
	Initial int16
}

// SupportedFeatures are the features that this broker has, as Kafka 4.3.1 knows them, in the order of their names. One
// is listed only when the APIs that it stands for are served, which a test holds; featureAPIs says which those are.
func SupportedFeatures() []Feature {
	return []Feature{
		{Name: "group.version", Min: 0, Max: 1, Initial: 1},
		{Name: "metadata.version", Min: 7, Max: 30, Initial: 30},
	}
}
