// Package mutants shows that the conformance suite finds faults: each file of
// testdata puts one wrong rule into the server, and the suite must notice.
//
//	rule: RFC 8881 §18.10.3: a length of all ones locks to the end of the file
//	file: statesync/rules/ranges.go
//	tests: RANGE4
//
//	 	case length == maxOffset:
//	-		return maxOffset, nil
//	+		return offset | 1<<40, nil
//
// The head says which rule of which RFC the fault breaks, where in the source,
// and which tests of the suite are expected to notice; "serve:" adds flags of
// `holdfast serve`. The hunk is like that of a patch: what the lines with " "
// and "-" say must be in the file exactly once and becomes what those with " "
// and "+" say; a line "@@" begins another hunk.
//
// The server's own source holds nothing for this. The program is built from
// the unmodified tree with one file replaced (go build -overlay), served, and
// tested over TCP:
//
//	testdata/x.fault ─▶ overlay ─▶ go build ─▶ holdfast serve ◀─ suite
//
// A fault that no test notices is a failure, for the suite lacks a test; so is
// one whose text is not in the source any more, for it says nothing then.
package mutants
