package pebble

// Status is how a store does, for an operator.
type Status struct {
	// Level is "ok", "nearly full" while only commits are taken that release
	// something, "full" while none are, or "failed".
	Level string
	// Err is why the store has failed, or nil.
	Err error
	// Free is the free space of the file system in bytes, -1 if unknown.
	Free int64
	// LogBytes and TableBytes are what the logs and tables take on the disk.
	LogBytes, TableBytes int64
	// Compactions counts those since Open.
	Compactions int64
}

// Failed returns a channel that is closed when the store has failed for good: no
// commit succeeds until it is opened anew.
func (s *Store) Failed() <-chan struct{} { return s.health.dead }

// Err is why the store has failed, ErrDamaged or ErrUnavailable, or nil.
func (s *Store) Err() error { return s.health.err() }

// Status tells how the store does. It may be called at any time, also after
// Close; then it tells Level and Err only.
func (s *Store) Status() Status {
	st := Status{Free: -1, Err: s.health.err()}
	switch {
	case st.Err != nil:
		st.Level = "failed"
	default:
		st.Level = [...]string{roomy: "ok", tight: "nearly full", full: "full"}[s.space.level.Load()]
	}
	if s.users.enter() != nil {
		return st
	}
	defer s.users.leave()
	if avail, _, err := s.space.free(s.dir); err == nil {
		st.Free = avail
	}
	// A failed database may hold its locks for ever.
	if st.Err == nil {
		m := s.db.Metrics()
		st.LogBytes = int64(m.WAL.PhysicalSize + m.WAL.ObsoletePhysicalSize)
		st.TableBytes = m.Total().TablesSize
		st.Compactions = m.Compact.Count
	}
	return st
}
