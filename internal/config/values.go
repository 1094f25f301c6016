package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A value is one setting's place in a Config. Set takes the text of a flag or
// of a YAML scalar; its error says what is wrong and what is allowed. For a list
// it is called once for each element, after clear. String is the present value
// as Set takes it.
type value interface {
	Set(text string) error
	String() string
}

type listValue interface {
	value
	clear()
}

type flagValue struct{ p *bool }

func (v flagValue) String() string { return strconv.FormatBool(*v.p) }
func (v flagValue) Set(s string) error {
	switch s {
	case "true":
		*v.p = true
	case "false":
		*v.p = false
	default:
		return fmt.Errorf("%q is not allowed here: true or false", s)
	}
	return nil
}

type textValue struct{ p *string }

func (v textValue) String() string     { return *v.p }
func (v textValue) Set(s string) error { *v.p = s; return nil }

type choiceValue struct {
	p    *string
	from []string
}

func (v choiceValue) String() string { return *v.p }
func (v choiceValue) Set(s string) error {
	if !slices.Contains(v.from, s) {
		return fmt.Errorf("%q is not allowed here: %s", s, oneOf(v.from))
	}
	*v.p = s
	return nil
}

func oneOf(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}

type durationValue struct {
	p      *time.Duration
	lo, hi time.Duration
}

func (v durationValue) String() string { return short(*v.p) }
func (v durationValue) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < v.lo || d > v.hi {
		return fmt.Errorf("%q is not allowed here: a duration of %s to %s, such as 90s or 2m", s, short(v.lo), short(v.hi))
	}
	*v.p = d
	return nil
}

// short writes a duration without units of zero: 1m30s, 1h.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

type integer interface{ ~int | ~uint32 }

type countValue[T integer] struct {
	p      *T
	lo, hi uint64
}

func (v countValue[T]) String() string { return strconv.FormatUint(uint64(*v.p), 10) }
func (v countValue[T]) Set(s string) error {
	n, err := strconv.ParseUint(strings.ReplaceAll(s, "_", ""), 10, 64)
	if err != nil || n < v.lo || n > v.hi {
		return fmt.Errorf("%q is not allowed here: a whole number from %d to %d", s, v.lo, v.hi)
	}
	*v.p = T(n)
	return nil
}

type sizeValue struct {
	p      *int64
	lo, hi int64
}

var units = []struct {
	name string
	size int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func (v sizeValue) String() string { return sizeText(*v.p) }

func sizeText(n int64) string {
	for _, u := range units {
		if n >= u.size && n%u.size == 0 && u.size > 1 {
			return fmt.Sprintf("%d%s", n/u.size, u.name)
		}
	}
	return strconv.FormatInt(n, 10)
}

func (v sizeValue) Set(s string) error {
	number, unit := s, int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			number, unit = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > v.hi/unit || n*unit < v.lo {
		return fmt.Errorf("%q is not allowed here: %s to %s, in bytes or with KiB, MiB, GiB", s, sizeText(v.lo), sizeText(v.hi))
	}
	*v.p = n * unit
	return nil
}

type addressesValue struct{ p *[]string }

func (v addressesValue) clear()         { *v.p = nil }
func (v addressesValue) String() string { return strings.Join(*v.p, ",") }
func (v addressesValue) Set(s string) error {
	for a := range strings.SplitSeq(s, ",") {
		if err := checkAddress(a); err != nil {
			return err
		}
		*v.p = append(*v.p, a)
	}
	return nil
}

func checkAddress(a string) error {
	host, port, err := net.SplitHostPort(a)
	n, portErr := strconv.ParseUint(port, 10, 16)
	_, ipErr := netip.ParseAddr(host)
	if err != nil || portErr != nil || n > 65535 || (host != "" && ipErr != nil) {
		return fmt.Errorf("%q is not allowed here: ADDRESS:PORT such as 192.0.2.1:2049, [2001:db8::1]:2049, or :2049 for all addresses", a)
	}
	return nil
}

type addressValue struct{ p *string }

func (v addressValue) String() string { return *v.p }
func (v addressValue) Set(s string) error {
	if s != "" {
		if err := checkAddress(s); err != nil {
			return err
		}
	}
	*v.p = s
	return nil
}

// lifelineValue is an address, or a word for which.
type lifelineValue struct{ p *string }

func (v lifelineValue) String() string { return *v.p }
func (v lifelineValue) Set(s string) error {
	if s != LifelineAuto && s != LifelineOff && checkAddress(s) != nil {
		return fmt.Errorf("%q is not allowed here: ADDRESS:PORT such as 192.0.2.1:2050 or :2050, auto or off", s)
	}
	*v.p = s
	return nil
}

type networksValue struct{ p *[]netip.Prefix }

func (v networksValue) clear() { *v.p = nil }
func (v networksValue) String() string {
	texts := make([]string, len(*v.p))
	for i, p := range *v.p {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

func (v networksValue) Set(s string) error {
	for text := range strings.SplitSeq(s, ",") {
		p, err := netip.ParsePrefix(text)
		if a, aerr := netip.ParseAddr(text); aerr == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return fmt.Errorf("%q is not allowed here: an address or a network such as 192.0.2.0/24 or 2001:db8::/32", text)
		}
		if p != p.Masked() {
			return fmt.Errorf("%q has address bits beyond its length: %s is the network", text, p.Masked())
		}
		*v.p = append(*v.p, p)
	}
	return nil
}

// nameValue is a name that is good in keys, addresses of the log and shells.
type nameValue struct{ p *string }

func (v nameValue) String() string { return *v.p }
func (v nameValue) Set(s string) error {
	fits := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r)
	}
	if len(s) < 1 || len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return !fits(r) }) {
		return fmt.Errorf("%q is not allowed here: 1 to 64 letters, digits, and - _ .", s)
	}
	*v.p = s
	return nil
}

// storeValue is the URL of a Redis, of which only the beginning is checked here.
// What is wrong is said without the URL: it may hold a password.
type storeValue struct{ p *string }

func (v storeValue) String() string { return *v.p }
func (v storeValue) Set(s string) error {
	scheme, rest, _ := strings.Cut(s, "://")
	if rest == "" || !slices.Contains([]string{"redis", "rediss", "redis+sentinel", "rediss+sentinel"}, scheme) {
		return errors.New("the store must be redis://HOST:PORT, rediss:// for TLS, or redis+sentinel://HOST,HOST/MASTER")
	}
	*v.p = s
	return nil
}

// peersValue is the URL of NATS servers, of which only the beginning is checked
// here, and which may hold a password, too.
type peersValue struct{ p *string }

func (v peersValue) String() string { return *v.p }
func (v peersValue) Set(s string) error {
	scheme, rest, _ := strings.Cut(s, "://")
	if rest == "" || !slices.Contains([]string{"nats", "tls"}, scheme) {
		return errors.New("the peers must be nats://[USER:PASSWORD@]HOST[:PORT][,HOST...], or tls://")
	}
	*v.p = s
	return nil
}
