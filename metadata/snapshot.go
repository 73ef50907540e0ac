package metadata

import (
	"fmt"
	"maps"
	"slices"
)

// Records returns the records that make im from an empty Image, in an order that depends on nothing but im.
func (im *Image) Records() []Record {
	records := make([]Record, 0, 2+len(im.features)+len(im.brokers)+im.topics.size+im.partitions+im.configs.size+im.clientQuotas.size+im.scram.size)
	if im.ClusterID != "" {
		records = append(records, &ClusterRecord{im.ClusterID})
	}
	for _, name := range slices.Sorted(maps.Keys(im.features)) {
		records = append(records, &FeatureLevelRecord{name, im.features[name]})
	}
	for _, b := range im.brokers {
		records = append(records, &RegisterBrokerRecord{*b})
	}
	im.Topics(func(t *Topic) bool {
		records = append(records, &TopicRecord{t.Name, t.ID})
		for i, p := range t.Partitions {
			records = append(records, &PartitionRecord{t.ID, int32(i), *p})
		}
		return true
	})
	im.configs.all(func(r ConfigResource, c map[string]string) bool {
		for _, name := range slices.Sorted(maps.Keys(c)) {
			records = append(records, &ConfigRecord{r, name, new(c[name])})
		}
		return true
	})
	im.ClientQuotas(func(e QuotaEntity, q map[string]float64) bool {
		for _, key := range slices.Sorted(maps.Keys(q)) {
			records = append(records, &ClientQuotaRecord{e, key, new(q[key])})
		}
		return true
	})
	im.ScramCredentials(func(u ScramUser, c *ScramCredential) bool {
		records = append(records, &ScramCredentialRecord{u, c})
		return true
	})
	if im.NextProducerID > 0 {
		records = append(records, &ProducerIDBlockRecord{NoBroker, im.NextProducerID})
	}
	return records
}

// imageFormat is the first byte of an encoded Image.
const imageFormat = 1

// EncodeImage appends the encoding of im to b: equal Images have equal bytes. FORMAT.md describes it.
func EncodeImage(b []byte, im *Image) []byte {
	w := writer{b: append(b, imageFormat)}
	w.uint(im.Index)
	return EncodeRecords(w.b, im.Records())
}

// DecodeImage reads an Image.
func DecodeImage(b []byte) (*Image, error) {
	r := newReader(b)
	if f := r.Byte(); r.Err == nil && f != imageFormat {
		return nil, fmt.Errorf("metadata image is in format %d, and this version of kbroker reads only format %d: "+
			"upgrade this node", f, imageFormat)
	}
	index := r.Uint()
	if r.Err != nil {
		return nil, fmt.Errorf("metadata image: %w", r.Err)
	}
	records, err := DecodeRecords(r.B)
	if err != nil {
		return nil, fmt.Errorf("metadata image at index %d: %w", index, err)
	}
	return new(Image).Apply(index, records...)
}
