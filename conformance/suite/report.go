package suite

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// A Sum counts results by outcome.
type Sum struct{ Passed, Failed, Unsupported, Skipped int }

// Count sums results up.
func Count(results []Result) (s Sum) {
	for _, r := range results {
		switch r.Outcome {
		case Pass:
			s.Passed++
		case Fail:
			s.Failed++
		case Unsupported:
			s.Unsupported++
		case Skip:
			s.Skipped++
		}
	}
	return s
}

// String is one line.
func (s Sum) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d unsupported, %d skipped", s.Passed, s.Failed, s.Unsupported, s.Skipped)
}

// Name is a result's code and minor version, such as LOCK12/4.1.
func (r Result) Name() string { return fmt.Sprintf("%s/4.%d", r.Test.Code, r.Minor) }

// WriteText tells the reasons of what was unsupported or skipped, each once, and
// the sum.
func WriteText(w io.Writer, results []Result) error {
	type group struct {
		what  string
		names []string
	}
	var groups []*group
	index := make(map[string]*group)
	for _, r := range results {
		if r.Outcome != Unsupported && r.Outcome != Skip {
			continue
		}
		what := strings.ToLower(string(r.Outcome)) + ": " + strings.Join(r.Messages, "; ")
		if index[what] == nil {
			index[what] = &group{what: what}
			groups = append(groups, index[what])
		}
		index[what].names = append(index[what].names, r.Name())
	}
	for _, g := range groups {
		if _, err := fmt.Fprintf(w, "%s\n    %s\n", g.what, strings.Join(g.names, " ")); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w, Count(results))
	return err
}

// WriteJSON writes one object for each result.
func WriteJSON(w io.Writer, results []Result) error {
	type row struct {
		Code     string   `json:"code"`
		Minor    uint32   `json:"minor"`
		Outcome  string   `json:"outcome"`
		Flags    []string `json:"flags"`
		RFC      string   `json:"rfc"`
		Says     string   `json:"says"`
		Messages []string `json:"messages,omitempty"`
		Exchange []string `json:"exchange,omitempty"`
		Seconds  float64  `json:"seconds"`
	}
	rows := make([]row, 0, len(results))
	for _, r := range results {
		rows = append(rows, row{
			r.Test.Code, r.Minor, strings.ToLower(string(r.Outcome)), r.Test.AllFlags(), r.Test.RFC, r.Test.Says,
			r.Messages, r.Exchange, r.Took.Round(time.Microsecond).Seconds(),
		})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(rows)
}

// The elements of a JUnit report.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     float64     `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string     `xml:"classname,attr"`
		Name    string     `xml:"name,attr"`
		Time    float64    `xml:"time,attr"`
		Failure *junitText `xml:"failure,omitempty"`
		Skipped *junitText `xml:"skipped,omitempty"`
	}
	junitText struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the results as JUnit XML, one suite for each minor version.
// What is unsupported is skipped there.
func WriteJUnit(w io.Writer, results []Result) error {
	var doc junitSuites
	for minor := range uint32(3) {
		s := junitSuite{Name: fmt.Sprintf("NFSv4.%d", minor)}
		for _, r := range results {
			if r.Minor == minor {
				s.add(r)
			}
		}
		if s.Tests > 0 {
			doc.Suites = append(doc.Suites, s)
		}
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s *junitSuite) add(r Result) {
	c := junitCase{Class: s.Name + "." + r.Test.Family(), Name: r.Test.Code, Time: r.Took.Seconds()}
	s.Tests++
	s.Time += c.Time
	switch r.Outcome {
	case Fail:
		s.Failures++
		c.Failure = &junitText{r.Test.RFC + ": " + r.Test.Says, strings.Join(append(r.Messages, r.Exchange...), "\n")}
	case Skip, Unsupported:
		s.Skipped++
		c.Skipped = &junitText{Message: strings.ToLower(string(r.Outcome)) + ": " + strings.Join(r.Messages, "; ")}
	}
	s.Cases = append(s.Cases, c)
}
