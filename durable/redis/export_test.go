package redis

// Waiting returns how many commits wait for a lane.
func Waiting(s *Store) int {
	s.commits.mu.Lock()
	defer s.commits.mu.Unlock()
	return len(s.commits.items)
}
