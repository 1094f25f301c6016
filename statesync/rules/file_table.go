package rules

// few is up to how many elements a table is a list. Most files are open once.
const few = 8

// A table finds elements by a key. It is a list while it is short and a map
// afterwards.
type table[K comparable, V comparable] struct {
	list []V
	many map[K]V
}

func (t *table[K, V]) len() int { return len(t.list) + len(t.many) }

// reserve makes room in an empty table for n elements.
func (t *table[K, V]) reserve(n int) {
	if n > few {
		t.many = make(map[K]V, n)
	}
}

// get returns the element with key k, or V's zero.
func (t *table[K, V]) get(k K, key func(V) K) (none V) {
	if t.many != nil {
		return t.many[k]
	}
	for _, v := range t.list {
		if key(v) == k {
			return v
		}
	}
	return none
}

// put adds v, which must not be there.
func (t *table[K, V]) put(v V, key func(V) K) {
	if t.many == nil && len(t.list) < few {
		t.list = append(t.list, v)
		return
	}
	if t.many == nil {
		t.many = make(map[K]V, 2*few)
		for _, w := range t.list {
			t.many[key(w)] = w
		}
		t.list = nil
	}
	t.many[key(v)] = v
}

// drop removes v, which must be there.
func (t *table[K, V]) drop(v V, key func(V) K) {
	if t.many != nil {
		if delete(t.many, key(v)); len(t.many) == 0 {
			t.many = nil
		}
		return
	}
	var none V
	end := len(t.list) - 1
	for i, w := range t.list {
		if w == v {
			t.list[i], t.list[end] = t.list[end], none
			t.list = t.list[:end]
			return
		}
	}
}

// each calls fn for every element, in no order.
func (t *table[K, V]) each(fn func(V)) {
	for _, v := range t.list {
		fn(v)
	}
	for _, v := range t.many {
		fn(v)
	}
}
