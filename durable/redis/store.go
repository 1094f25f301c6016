package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"holdfast/durable"
)

// format is the version of the layout of the records.
const format = "1"

// Fields of a group's hash.
const (
	fieldVersion = "v"
	fieldPart    = 'p'
)

// Store is a durable.Store in Redis. Use Open. It is a durable.Clock and a
// durable.Epochal, too.
type Store struct {
	log  *slog.Logger
	opts Options
	addr *address
	rdb  *goredis.Client
	lib  string // the name of the function library

	meta, index, prefix string // keys

	epoch string
	made  bool

	// floor is the highest sequence that is known to be durable.
	floor atomic.Uint64

	commits queue[*request]
	loads   queue[*query]
	gate    gate
	health  health
	stats   stats

	stop    chan struct{} // closed by Close
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	closing sync.Once
}

var (
	_ durable.Store   = (*Store)(nil)
	_ durable.Clock   = (*Store)(nil)
	_ durable.Epochal = (*Store)(nil)
)

// Open connects to the store at a URL, looks whether it will keep what it
// acknowledges, and takes it, or makes it if it is empty. See the package comment for
// what the server must be like; ParseURL tells what a URL may say.
//
// A server that cannot be reached is tried until ctx or Options.Patience ends. The
// error is ErrUnfit, durable.ErrUnavailable, durable.ErrWiped,
// durable.ErrFormat, durable.ErrDamaged, or of the URL.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	a, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	if o.TLS != nil {
		a.tls = o.TLS
	}
	base := "holdfast:{" + o.Domain + "}:"
	name, _ := library()
	s := &Store{
		log: o.Log, opts: o, addr: a, lib: name,
		meta: base + "meta", index: base + "index", prefix: base + "g:",
		stop: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.health.log = o.Log
	s.commits.init()
	s.loads.init()
	s.rdb = connect(a, o, s.examine)
	if err := s.take(ctx); err != nil {
		s.cancel()
		s.rdb.Close()
		return nil, err
	}
	for range o.Lanes {
		l := newLane(s)
		s.running.Go(l.run)
	}
	for range loaders {
		s.running.Go(s.loader)
	}
	if err := s.probe(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// take takes or makes the store, as soon as the server answers.
func (s *Store) take(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	var p pause
	var last error
	for {
		err := s.tryTake(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err // and not that the time was up
		}
		for _, final := range []error{ErrUnfit, durable.ErrWiped, durable.ErrFormat, durable.ErrDamaged} {
			if errors.Is(err, final) {
				return err
			}
		}
		if lacksRight(err) {
			return s.rightsError(err)
		}
		if isLogin(err) || !p.wait(ctx.Done()) {
			return fmt.Errorf("%w: %s: %w", durable.ErrUnavailable, s.addr, last)
		}
	}
}

// isLogin says whether the server does not let us in.
func isLogin(err error) bool {
	return goredis.HasErrorPrefix(err, "NOAUTH") || goredis.HasErrorPrefix(err, "WRONGPASS")
}

// lacksRight says whether the user may not do what is needed.
func lacksRight(err error) bool {
	return goredis.HasErrorPrefix(err, "NOPERM") || strings.Contains(err.Error(), "user executing the script can't")
}

func (s *Store) rightsError(err error) error {
	return fmt.Errorf("%w (%s): the user lacks a right: ACL SETUSER NAME ~%s* %s (Redis says: %w)",
		ErrUnfit, s.addr, strings.TrimSuffix(s.meta, "meta"), Rights, err)
}

func (s *Store) tryTake(ctx context.Context) error {
	if err := s.replicated(ctx); err != nil {
		return err
	}
	accept := ""
	if s.opts.AcceptLoss {
		accept = "1"
	}
	fresh := randomID(16)
	args := []any{fresh, s.opts.Epoch, format, accept}
	reply, err := s.fcall(ctx, "open", []string{s.meta, s.index}, args)
	if err != nil && fateOf(err) == noFunc {
		if err := s.loadLibrary(ctx); err != nil {
			return err
		}
		reply, err = s.fcall(ctx, "open", []string{s.meta, s.index}, args)
	}
	if err != nil {
		return err
	}
	switch word, _ := reply[0].(string); word {
	case "ok":
	case "format":
		return fmt.Errorf("%w: the store at %s has format %q, this program knows %s", durable.ErrFormat, s.addr, reply[1], format)
	case "damaged":
		return fmt.Errorf("%w: %s has groups of domain %q, but not the record that names it (%s)", durable.ErrDamaged, s.addr, s.opts.Domain, s.meta)
	default:
		return s.refusal(reply)
	}
	s.epoch, _ = reply[1].(string)
	s.made = reply[2] == int64(1)
	if seq, ok := reply[3].(int64); ok && seq >= 0 {
		s.floor.Store(uint64(seq))
	}
	return nil
}

// fcall calls a function of the library outside of a lane. Its answer has at
// least one element.
func (s *Store) fcall(ctx context.Context, function string, keys []string, args []any) ([]any, error) {
	reply, err := s.rdb.Do(ctx, s.command(function, keys, args)...).Slice()
	if err == nil && len(reply) == 0 {
		err = errors.New("empty answer of a function")
	}
	return reply, err
}

func (s *Store) command(function string, keys []string, args []any) []any {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, "FCALL", s.lib+"_"+function, len(keys))
	for _, key := range keys {
		all = append(all, key)
	}
	return append(all, args...)
}

// refusal is the error of a function's answer that is not "ok".
func (s *Store) refusal(reply []any) error {
	word, _ := reply[0].(string)
	at := func(i int) any {
		if i < len(reply) {
			return reply[i]
		}
		return "?"
	}
	switch word {
	case "wiped":
		if at(1) == "" {
			return fmt.Errorf("%w: %s is empty, state domain %q is gone", durable.ErrWiped, s.addr, s.opts.Domain)
		}
		return fmt.Errorf("%w: %s holds another history (epoch %v)", durable.ErrWiped, s.addr, at(1))
	case "lost":
		return fmt.Errorf("%w: %s was set back: call %v was acknowledged, it only knows %v", durable.ErrWiped, s.addr, at(1), at(2))
	}
	return fmt.Errorf("%w: the functions in Redis answered %q", durable.ErrDamaged, word)
}

// probe does once all that commits and loads do, so that a right that the user
// lacks, or replicas that do not confirm, are found now and not in the midst of
// somebody's request.
func (s *Store) probe(ctx context.Context) error {
	key := "\x00probe/" + randomID(8)
	steps := []durable.Batch{
		{Checks: []durable.Check{{Key: key}}, Writes: []durable.Write{{Key: key, Value: []byte("1")}, {Key: key, Name: "x", Value: []byte("1")}}},
		{Writes: []durable.Write{{Key: key, Name: "x"}}},
		{Checks: []durable.Check{{Key: key}}},
		{Forget: []string{key}},
	}
	for i := range steps {
		_, err := s.Commit(ctx, &steps[i])
		if conflict := (*durable.Conflict)(nil); errors.As(err, &conflict) {
			continue
		}
		if errors.Is(err, durable.ErrFull) && i < 3 {
			return nil // what there is can be served
		}
		if err != nil && lacksRight(err) {
			return s.rightsError(err)
		}
		if err != nil {
			return fmt.Errorf("trying a commit: %w", err)
		}
	}
	_, err := s.Load(ctx, key)
	if err == nil {
		err = s.Scan(ctx, key, func(durable.Group) bool { return true })
	}
	if err != nil && lacksRight(err) {
		return s.rightsError(err)
	}
	if err != nil {
		return fmt.Errorf("trying a load and a scan: %w", err)
	}
	return nil
}

// Epoch implements durable.Epochal.
func (s *Store) Epoch() string { return s.epoch }

// Made implements durable.Epochal.
func (s *Store) Made() bool { return s.made }

// Now implements durable.Clock.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if err := s.open(ctx); err != nil {
		return time.Time{}, err
	}
	t, err := s.rdb.Time(ctx).Result()
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %w", durable.ErrUnavailable, err)
	}
	return t, nil
}

// open says why a call cannot even begin.
func (s *Store) open(ctx context.Context) error {
	select {
	case <-s.stop:
		return durable.ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", durable.ErrUnavailable, err)
	}
	return nil
}

// Close implements durable.Store. Calls under way have the time of one answer
// to end; those that wait are ErrClosed.
func (s *Store) Close() error {
	err := durable.ErrClosed
	s.closing.Do(func() {
		err = nil
		close(s.stop)
		s.commits.close()
		s.loads.close()
		s.running.Wait()
		s.cancel()
		if e := s.rdb.Close(); e != nil {
			err = fmt.Errorf("closing the connections to %s: %w", s.addr, e)
		}
	})
	return err
}

// acknowledged notes that the store is durable up to a sequence.
func (s *Store) acknowledged(seq uint64) {
	for {
		old := s.floor.Load()
		if seq <= old || s.floor.CompareAndSwap(old, seq) {
			return
		}
	}
}

func randomID(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// A pause grows from one try to the next.
type pause struct{ d time.Duration }

const (
	firstPause = 2 * time.Millisecond
	lastPause  = 200 * time.Millisecond
)

// wait returns false if done was closed.
func (p *pause) wait(done <-chan struct{}) bool {
	p.d = min(max(2*p.d, firstPause), lastPause)
	t := time.NewTimer(p.d)
	defer t.Stop()
	select {
	case <-done:
		return false
	case <-t.C:
		return true
	}
}
