package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"holdfast/durable"
)

// A group of very many parts, such as a file with a hundred thousand locks, is
// read page by page: in one answer it would take so long that the caller thinks the server
// has failed, and the server does nothing else meanwhile.
//
//	version  page  version  page  …  version
//
// If the version is the same all the while the pages are those of one moment. Otherwise
// they are read again, and after a few times all at once, which nothing can come
// between.

const (
	// pageParts is how many parts one answer has, about. functions.lua knows it, too.
	pageParts = 4096
	// maxTries bounds how often the pages of a group that others change are read.
	maxTries = 3
)

// serveLarge answers a query, as soon as the server can be reached. What is missing in
// groups are the large ones, by their number.
func (s *Store) serveLarge(q *query, groups []durable.Group, large []int) {
	var p pause
	var seq uint64
	for _, i := range large {
		for {
			if q.left.Load() {
				return
			}
			var refusal, err error
			groups[i], seq, refusal, err = s.readLarge(q.keys[i])
			if refusal != nil {
				q.answer <- loaded{err: refusal}
				return
			}
			if err == nil {
				s.health.well()
				break
			}
			s.health.lost(err)
			if !p.wait(s.stop) {
				q.answer <- loaded{err: durable.ErrClosed}
				return
			}
		}
	}
	q.answer <- loaded{groups: groups, seq: seq}
}

// readLarge reads a large group. What is read last is whether this was the right
// store, as in readSome.
func (s *Store) readLarge(key string) (g durable.Group, seq uint64, refusal, err error) {
	floor := s.floor.Load()
	for range maxTries {
		fields, meta, err := s.readPages(key)
		switch {
		case errors.Is(err, errMoved):
			continue
		case err != nil && (strings.HasPrefix(err.Error(), "WRONGTYPE") || errors.Is(err, durable.ErrDamaged)):
			return g, 0, fmt.Errorf("%w: group %q: %w", durable.ErrDamaged, key, err), nil
		case err != nil:
			return g, 0, nil, err
		}
		return s.largeGroup(key, fields, meta, floor)
	}
	pipe := s.client(maxCall + 1).Pipeline()
	whole := pipe.Do(s.ctx, "HGETALL", s.prefix+key)
	meta := s.askMeta(s.ctx, pipe)
	if _, err := pipe.Exec(s.ctx); err != nil {
		return g, 0, nil, err
	}
	fields, err := whole.Slice()
	if err != nil {
		return g, 0, nil, err
	}
	return s.largeGroup(key, fields, meta, floor)
}

// largeGroup makes the group of what was read, if it is from the right store.
func (s *Store) largeGroup(key string, fields []any, meta *goredis.Cmd, floor uint64) (g durable.Group, seq uint64, refusal, err error) {
	if seq, refusal = s.verify(meta, floor); refusal != nil {
		return g, 0, refusal, nil
	}
	if g, refusal = parseGroup(key, fields); refusal != nil {
		return g, 0, refusal, nil
	}
	// A scan may show a field twice.
	g.Parts = slices.CompactFunc(g.Parts, func(a, b durable.Part) bool { return a.Name == b.Name })
	return g, seq, nil, nil
}

// errMoved says that a group was changed while it was read.
var errMoved = errors.New("the group was changed meanwhile")

// readPages reads a group's fields page by page.
func (s *Store) readPages(key string) (fields []any, meta *goredis.Cmd, err error) {
	var version any
	cursor := firstPage
	for first := true; ; first = false {
		pipe := s.rdb.Pipeline()
		now := pipe.Do(s.ctx, "HMGET", s.prefix+key, fieldVersion)
		var page *goredis.Cmd
		if first || cursor != firstPage {
			page = scanPart(s.ctx, pipe, s.prefix+key, cursor)
		} else {
			meta = s.askMeta(s.ctx, pipe)
		}
		if _, err := pipe.Exec(s.ctx); err != nil {
			return nil, nil, err
		}
		v, err := now.Slice()
		if err != nil {
			return nil, nil, err
		}
		if first {
			version = v[0]
		} else if v[0] != version {
			return nil, nil, errMoved
		}
		if page == nil {
			return fields, meta, nil
		}
		var more []any
		if more, cursor, err = pageOf(page); err != nil {
			return nil, nil, err
		}
		fields = append(fields, more...)
	}
}

// firstPage is the cursor before the first page, and behind the last one.
const firstPage = "0"

// scanPart asks for a page of a group. A group that is not large is one page.
func scanPart(ctx context.Context, pipe goredis.Pipeliner, key, cursor string) *goredis.Cmd {
	return pipe.Do(ctx, "HSCAN", key, cursor, "COUNT", pageParts)
}

// pageOf returns the fields and values of a page, and the cursor of the next.
func pageOf(page *goredis.Cmd) (fields []any, next string, err error) {
	answer, err := page.Slice()
	if err != nil {
		return nil, "", err
	}
	if len(answer) == 2 {
		next, _ = answer[0].(string)
		fields, _ = answer[1].([]any)
	}
	if next == "" {
		return nil, "", fmt.Errorf("%w: a page of a group is %v", durable.ErrDamaged, answer)
	}
	return fields, next, nil
}

// A largeConflict is a Conflict some of whose groups, by their number, are still to
// be read.
type largeConflict struct {
	*durable.Conflict
	large []int
}

// complete reads what a Commit's error lacks.
func (s *Store) complete(ctx context.Context, err error) error {
	var c *largeConflict
	if !errors.As(err, &c) {
		return err
	}
	for _, i := range c.large {
		groups, err := s.Load(ctx, c.Groups[i].Key)
		if err != nil {
			return err
		}
		c.Groups[i] = groups[0]
	}
	return c.Conflict
}
