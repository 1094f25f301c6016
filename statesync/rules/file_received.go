package rules

import "holdfast/durable"

// Received returns the change that another gateway committed with these writes
// to the parts of the file's group, for a File that is at the version before
// it. Apply carries it out. The error is ErrServerFault if the writes make no
// sense on this file; it is then to be loaded again.
func (f *File) Received(ws []durable.Write) (*Delta, error) {
	d := newDelta()
	for i := range ws {
		p := durable.Part{Name: ws[i].Name, Value: ws[i].Value}
		var err error
		if p.Value == nil {
			err = f.receiveDrop(d, &p)
		} else {
			err = f.receivePut(d, &p)
		}
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (f *File) receiveDrop(d *Delta, p *durable.Part) error {
	r := partReader{name: p.Name}
	switch kindOf(p) {
	case partOpen:
		o := f.opens.get(r.key(0), openKey)
		if o == nil {
			return fault("part %q of a file is dropped and not there", p.Name)
		}
		d.dropOpens = append(d.dropOpens, gone{o.other, o.owner.client})
	case partLock:
		l := f.locks.get(r.key(0), lockKey)
		if l == nil {
			return fault("part %q of a file is dropped and not there", p.Name)
		}
		d.dropLocks = append(d.dropLocks, gone{l.other, l.owner.owner.client})
	case partRange:
		d.more--
		d.dropRanges = append(d.dropRanges, r.rangeKey())
	default:
		r.bad = p.Name != ""
		d.head = headDrop
	}
	if r.bad || r.short {
		return fault("part %q of a file that is dropped has no meaning", p.Name)
	}
	return nil
}

func (f *File) receivePut(d *Delta, p *durable.Part) error {
	r := partReader{name: p.Name, rest: p.Value}
	if format := r.byte(); format == 0 || format > fileFormat {
		return fault("part %q of a file has format %d, known are 1 to %d", p.Name, format, fileFormat)
	}
	switch kindOf(p) {
	case partOpen:
		rec := r.open()
		d.addOpen(rec, f.opens.get(rec.other, openKey) == nil)
	case partLock:
		rec := r.lock()
		d.addLock(rec, f.locks.get(rec.other, lockKey) == nil)
	case partRange:
		rec := r.rangeRecord()
		l := f.locks.get(rec.other, lockKey)
		replaces := false
		if l != nil {
			replaces = l.owner.at(rec.start) != nil
		}
		d.addRange(rec.other, rec.start, rec.last, rec.write, replaces)
	default:
		r.bad = r.bad || p.Name != ""
		d.head = headPut
	}
	if r.bad || r.short || len(r.rest) != 0 {
		return fault("part %q of a file is damaged", p.Name)
	}
	return nil
}
