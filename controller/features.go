package controller

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/metadata"
)

// LevelRange is the levels of a feature that this version of kbroker works at.
type LevelRange struct{ Min, Max int16 }

// FeatureUpdate finalizes a feature at another level (rule 7.12.1).
type FeatureUpdate struct {
	Name  string
	Level int16 // 0 disables the feature
	Type  UpgradeType
}

// UpgradeType says which way a feature may go: whoever wants less than there is has to say so. The numbers are Kafka's.
type UpgradeType int8

// Upgrade types.
const (
	Upgrade         UpgradeType = 1
	SafeDowngrade   UpgradeType = 2
	UnsafeDowngrade UpgradeType = 3
)

// metadataVersion is the feature that Kafka's metadata format hangs on. kbroker's format has versions of its own, but
// what clients conclude from the level must not change back: Kafka refuses every way down as well.
const metadataVersion = "metadata.version"

// updateFeatures is UpdateFeatures: all of the updates are made, or none.
type updateFeatures struct {
	updates      []FeatureUpdate
	validateOnly bool

	failed int // with an error: the update that it is about, -1 for none
}

func (u *updateFeatures) decide(d *decision) error {
	var records []metadata.Record
	for i := range u.updates {
		r, err := u.updates[i].decide(d)
		if err != nil {
			u.failed = i
			return err
		}
		records = append(records, r...)
	}
	u.failed = -1
	if u.validateOnly {
		return nil
	}
	return d.write(records...)
}

// decide returns the record that makes the update, if there is something to change.
func (u *FeatureUpdate) decide(d *decision) ([]metadata.Record, error) {
	now := d.head.Features()[u.Name]
	levels, known := d.rules.Features[u.Name]
	invalid := func(why string) error {
		return refuse(kerr.InvalidUpdateVersion, "feature %s cannot go from level %d to %d: %s", u.Name, now, u.Level, why)
	}
	switch {
	case u.Type < Upgrade || u.Type > UnsafeDowngrade:
		return nil, invalid("the type of the update is neither an upgrade nor a downgrade")
	case u.Level < 0:
		return nil, invalid("a level is not below 0")
	case !known:
		return nil, invalid("this version of kbroker does not have the feature")
	case u.Level < levels.Min || u.Level > levels.Max:
		return nil, refuse(kerr.InvalidUpdateVersion, "feature %s cannot go from level %d to %d: this version of kbroker works at levels %d to %d",
			u.Name, now, u.Level, levels.Min, levels.Max)
	case u.Level < now && u.Type == Upgrade:
		return nil, invalid("that is a downgrade, and the request asks for an upgrade")
	case u.Level > now && u.Type != Upgrade:
		return nil, invalid("that is an upgrade, and the request asks for a downgrade")
	case u.Level < now && u.Name == metadataVersion:
		return nil, invalid("metadata that the lower level does not know could be lost")
	case u.Level == now:
		return nil, nil
	}
	return []metadata.Record{&metadata.FeatureLevelRecord{Name: u.Name, Level: u.Level}}, nil
}
