package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"

	"holdfast/durable"
)

const (
	// loaders is how many round trips of loads may be under way.
	loaders = 2
	// maxLoad bounds the groups asked for in one round trip.
	maxLoad = 256
	// scanPage and scanLoad bound what a scan has in memory: names, and groups.
	scanPage = 512
	scanLoad = 32
)

// A query is a Load that waits, or, with some, a LoadParts.
type query struct {
	keys   []string
	some   bool
	names  []string
	left   atomic.Bool
	answer chan loaded // of capacity 1
}

type loaded struct {
	groups []durable.Group
	seq    uint64 // of the store when the last group was read, or later
	err    error
}

// Load implements durable.Store.
func (s *Store) Load(ctx context.Context, keys ...string) ([]durable.Group, error) {
	for _, key := range keys {
		if err := durable.ValidateKey(key); err != nil {
			return nil, err
		}
	}
	return s.answer(ctx, &query{keys: keys})
}

// LoadParts implements durable.Store.
func (s *Store) LoadParts(ctx context.Context, key string, names ...string) (durable.Group, error) {
	if err := durable.ValidateKey(key); err != nil {
		return durable.Group{}, err
	}
	groups, err := s.answer(ctx, &query{keys: []string{key}, some: true, names: names})
	if err != nil {
		return durable.Group{}, err
	}
	return groups[0], nil
}

// answer has a query answered.
func (s *Store) answer(ctx context.Context, q *query) ([]durable.Group, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	if !s.gate.pass(ctx) {
		return nil, s.unavailable(ctx.Err())
	}
	q.answer = make(chan loaded, 1)
	if !s.loads.put(q) {
		return nil, durable.ErrClosed
	}
	select {
	case l := <-q.answer:
		if l.err == nil {
			l.err = s.confirm(ctx, l.seq)
		}
		if l.err != nil {
			return nil, l.err
		}
		return l.groups, nil
	case <-ctx.Done():
		q.left.Store(true)
		return nil, s.unavailable(ctx.Err())
	}
}

// confirm makes sure that what was read up to seq is durable, so that nobody is
// told of it who would then see it gone.
func (s *Store) confirm(ctx context.Context, seq uint64) error {
	if s.addr.replicas == 0 {
		s.acknowledged(seq)
		return nil
	}
	if seq <= s.floor.Load() {
		return nil
	}
	if _, err := s.Commit(ctx, &durable.Batch{}); err != nil {
		return fmt.Errorf("%w: confirming what was read: %w", durable.ErrUnavailable, err)
	}
	return nil
}

// loader answers queries, all that wait in one round trip.
func (s *Store) loader() {
	var qs []*query
	for {
		n := 0
		qs = s.loads.take(qs[:0], func(q *query) bool {
			n += len(q.keys)
			return n <= maxLoad
		})
		if len(qs) == 0 {
			return
		}
		s.serve(qs)
		clear(qs)
	}
}

// serve answers the queries, as soon as the server can be reached.
func (s *Store) serve(qs []*query) {
	var p pause
	for {
		qs = slices.DeleteFunc(qs, func(q *query) bool { return q.left.Load() })
		if len(qs) == 0 {
			return
		}
		err := s.read(qs)
		if err == nil {
			return
		}
		s.health.lost(err)
		if !p.wait(s.stop) {
			for _, q := range qs {
				q.answer <- loaded{err: durable.ErrClosed}
			}
			return
		}
	}
}

// read answers the queries, or says why the server could not be asked.
func (s *Store) read(qs []*query) error {
	var wants []want
	where := make(map[string]int) // whole groups
	partly := make(map[*query]int)
	for _, q := range qs {
		if q.some {
			partly[q] = len(wants)
			wants = append(wants, want{key: q.keys[0], q: q})
			continue
		}
		for _, key := range q.keys {
			if _, ok := where[key]; !ok {
				where[key] = len(wants)
				wants = append(wants, want{key: key})
			}
		}
	}
	groups := make([]durable.Group, 0, len(wants))
	var seq uint64
	refuse := func(err error) {
		for _, q := range qs {
			q.answer <- loaded{err: err}
		}
	}
	for first := true; first || len(groups) < len(wants); first = false {
		some := wants[len(groups):min(len(groups)+maxLoad, len(wants))]
		var err error
		var refusal error
		groups, seq, refusal, err = s.readSome(groups, some)
		if err != nil {
			return err
		}
		if refusal != nil {
			refuse(refusal)
			return nil
		}
	}
	s.health.well()
	for _, q := range qs {
		mine := make([]durable.Group, len(q.keys))
		if q.some {
			mine[0] = groups[partly[q]]
			q.answer <- loaded{groups: mine, seq: seq}
			continue
		}
		var large []int
		for i, key := range q.keys {
			mine[i] = groups[where[key]]
			if wants[where[key]].large {
				large = append(large, i)
			}
		}
		if large != nil {
			s.running.Go(func() { s.serveLarge(q, mine, large) }) // the others do not wait for it
			continue
		}
		q.answer <- loaded{groups: mine, seq: seq}
	}
	return nil
}

// A want is a group to be read: whole, or those parts that a query names.
type want struct {
	key   string
	q     *query
	large bool // it has more pages than the first: set when that was read
}

// command reads it, if it is not large.
func (w want) command(ctx context.Context, pipe goredis.Pipeliner, prefix string) *goredis.Cmd {
	if w.q == nil {
		return scanPart(ctx, pipe, prefix+w.key, firstPage)
	}
	args := make([]any, 0, 3+len(w.q.names))
	args = append(args, "HMGET", prefix+w.key, fieldVersion)
	for _, name := range w.q.names {
		args = append(args, string(fieldPart)+name)
	}
	return pipe.Do(ctx, args...)
}

// parse makes the group of the command's answer, or notes that it is large.
func (w *want) parse(cmd *goredis.Cmd) (durable.Group, error) {
	if w.q == nil {
		fields, next, err := pageOf(cmd)
		switch w.large = next != firstPage; {
		case err != nil:
			return durable.Group{}, fmt.Errorf("%w: group %q: %w", durable.ErrDamaged, w.key, err)
		case w.large:
			return durable.Group{}, nil
		}
		return parseGroup(w.key, fields)
	}
	answer, err := cmd.Slice()
	if err != nil {
		return durable.Group{}, fmt.Errorf("%w: group %q: %w", durable.ErrDamaged, w.key, err)
	}
	var fields []any
	for i, value := range answer {
		switch {
		case value == nil:
		case i == 0:
			fields = append(fields, fieldVersion, value)
		default:
			fields = append(fields, string(fieldPart)+w.q.names[i-1], value)
		}
	}
	return parseGroup(w.key, fields)
}

// readSome appends some groups. What is read last is whether this
// was the right store: an epoch never comes back.
func (s *Store) readSome(groups []durable.Group, wants []want) (_ []durable.Group, seq uint64, refusal, err error) {
	floor := s.floor.Load()
	pipe := s.rdb.Pipeline()
	cmds := make([]*goredis.Cmd, len(wants))
	for i, w := range wants {
		cmds[i] = w.command(s.ctx, pipe, s.prefix)
	}
	meta := s.askMeta(s.ctx, pipe)
	s.stats.loads.Add(1)
	if _, err := pipe.Exec(s.ctx); err != nil && !strings.HasPrefix(err.Error(), "WRONGTYPE") {
		return nil, 0, nil, err
	}
	if seq, refusal = s.verify(meta, floor); refusal != nil {
		return nil, 0, refusal, nil
	}
	for i := range wants {
		g, err := wants[i].parse(cmds[i])
		if err != nil {
			return nil, 0, err, nil
		}
		groups = append(groups, g)
	}
	return groups, seq, nil, nil
}

// askMeta asks for what verify looks at.
func (s *Store) askMeta(ctx context.Context, pipe goredis.Pipeliner) *goredis.Cmd {
	return pipe.Do(ctx, "HMGET", s.meta, "epoch", "lost", "seq")
}

// verify says whether an answer came from the store that was opened, with all
// that had been acknowledged when it was asked.
func (s *Store) verify(meta *goredis.Cmd, floor uint64) (seq uint64, refusal error) {
	fields, err := meta.Slice()
	if err != nil || len(fields) != 3 {
		return 0, fmt.Errorf("%w: %s: %w", durable.ErrDamaged, s.meta, err)
	}
	epoch, _ := fields[0].(string)
	lost, isLost := fields[1].(string)
	at, _ := fields[2].(string)
	if epoch != s.epoch {
		return 0, s.refusal([]any{"wiped", epoch})
	}
	seq, err = strconv.ParseUint(at, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s: seq is %q", durable.ErrDamaged, s.meta, at)
	}
	if isLost {
		return 0, s.refusal([]any{"lost", lost, at})
	}
	if seq < floor {
		s.tell(floor)
		return 0, s.refusal([]any{"lost", floor, at})
	}
	return seq, nil
}

// tell leaves word in the store that it was set back, for all who use it: their
// own calls will soon have counted beyond what is missing. A function looks once more and
// writes it, as it does for a commit. Who comes next tells again if that fails.
func (s *Store) tell(floor uint64) {
	if _, err := s.fcall(s.ctx, "commit", []string{s.meta, s.index}, []any{s.epoch, randomID(8), 1, floor, 0}); err != nil {
		s.health.lost(err)
	}
}

// parseGroup makes a group of its hash.
func parseGroup(key string, fields []any) (durable.Group, error) {
	g := durable.Group{Key: key}
	if len(fields) == 0 {
		return g, nil
	}
	g.Parts = make([]durable.Part, 0, len(fields)/2)
	for i := 0; i+1 < len(fields); i += 2 {
		field, _ := fields[i].(string)
		value, _ := fields[i+1].(string)
		switch {
		case field == fieldVersion:
			version, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return g, fmt.Errorf("%w: group %q has version %q", durable.ErrDamaged, key, value)
			}
			g.Version = version
		case field != "" && field[0] == fieldPart:
			g.Parts = append(g.Parts, durable.Part{Name: field[1:], Value: []byte(value)})
		default:
			return g, fmt.Errorf("%w: group %q has a field %q", durable.ErrDamaged, key, field)
		}
	}
	if g.Version == 0 {
		return g, fmt.Errorf("%w: group %q has no version", durable.ErrDamaged, key)
	}
	slices.SortFunc(g.Parts, func(a, b durable.Part) int { return strings.Compare(a.Name, b.Name) })
	return g, nil
}

// Scan implements durable.Store. It holds some hundred names and some groups at
// a time. A group that is there all the while is seen once.
func (s *Store) Scan(ctx context.Context, prefix string, fn func(durable.Group) bool) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	from, to := "["+prefix, after(prefix)
	if prefix == "" {
		from = "-"
	}
	for {
		names, err := s.page(ctx, from, to)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(names, scanLoad) {
			groups, err := s.Load(ctx, some...)
			if err != nil {
				return err
			}
			for _, g := range groups {
				if g.Version > 0 && !fn(g) {
					return nil
				}
			}
		}
		if len(names) < scanPage {
			return nil
		}
		from = "(" + names[len(names)-1]
	}
}

// after is the end of the range of names that begin with prefix.
func after(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return "(" + string(b[:i+1])
		}
	}
	return "+"
}

// page returns the next names of groups in a range.
func (s *Store) page(ctx context.Context, from, to string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	if !s.gate.pass(ctx) {
		return nil, s.unavailable(ctx.Err())
	}
	var p pause
	for {
		if err := s.open(ctx); err != nil {
			return nil, err
		}
		floor := s.floor.Load()
		pipe := s.rdb.Pipeline()
		list := pipe.Do(ctx, "ZRANGE", s.index, from, to, "BYLEX", "LIMIT", 0, scanPage)
		meta := s.askMeta(ctx, pipe)
		_, err := pipe.Exec(ctx)
		if err == nil {
			if _, refusal := s.verify(meta, floor); refusal != nil {
				return nil, refusal
			}
			return list.StringSlice()
		}
		s.health.lost(err)
		if !p.wait(ctx.Done()) {
			return nil, s.unavailable(ctx.Err())
		}
	}
}
