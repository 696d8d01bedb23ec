package operation

// Read gives a plan and what its steps learned, without its lock: for reports, and for those who prove
// its result later.
func (s *Store) Read(id string) (Plan, map[string]string, error) {
	if !s.exists(id) {
		return Plan{}, nil, notFound(id)
	}
	plan, raw, err := s.read(id)
	if err != nil {
		return Plan{}, nil, err
	}
	entries, _, err := ParseJournal(raw)
	if err != nil {
		return Plan{}, nil, err
	}
	return plan, replay(entries).facts, nil
}
