package pebble

import pdb "github.com/cockroachdb/pebble/v2"

// syncMark is what the record is that has the log synced, to be seen in a dump.
var syncMark = []byte("sync")

// syncLog puts everything that was committed before on stable storage, by an
// empty record that asks for it. A sync costs as much as several commits: all
// who wait at the same time share one.
func (s *Store) syncLog() error {
	batch := s.db.NewBatch()
	batch.LogData(syncMark, nil)
	if err := s.db.Apply(batch, pdb.Sync); err != nil {
		return err
	}
	return batch.Close()
}
