package service

import (
	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/synclog/journal"
)

// engineJournal is the journal with the types of the engine, which does not know it.
type engineJournal struct{ *journal.Journal }

var _ engine.Journal = engineJournal{}

// Begin implements engine.Journal.
func (j engineJournal) Begin(method string, bucket, key, host, target []byte) (engine.JournalWrite, error) {
	w, err := j.Journal.Begin(method, bucket, key, host, target)
	if err != nil {
		return nil, err // a nil *journal.Write would become an interface that is not nil
	}
	return w, nil
}
