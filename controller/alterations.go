package controller

import "github.com/kbroker/kbroker/metadata"

// alteration changes the settings of one thing: all that it says is done, or nothing.
type alteration interface {
	// settings is how many settings it names, each of which may become a record.
	settings() int
	// decide returns the records that make it. Its error refuses this alteration alone.
	decide(d *decision) ([]metadata.Record, error)
}

// alterEach makes alterations of which each stands for itself.
type alterEach[A alteration] struct {
	alterations  []A
	validateOnly bool

	errs []error // one for each alteration
}

func (a *alterEach[A]) decide(d *decision) error {
	total := 0
	for _, alteration := range a.alterations {
		total += alteration.settings()
	}
	if total > maxRecords {
		return errTooManyRecords()
	}
	a.errs = make([]error, len(a.alterations))
	for i, alteration := range a.alterations {
		records, err := alteration.decide(d)
		if err == nil && !a.validateOnly {
			err = d.write(records...)
		}
		a.errs[i] = err
	}
	return nil
}
