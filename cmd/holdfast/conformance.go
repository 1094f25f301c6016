package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/conformance/client"
	"holdfast/conformance/suite"
)

// conformanceCommand runs the conformance suite against any NFSv4 server.
func conformanceCommand() *cobra.Command {
	var server, path string
	var minors []uint
	var list, asJSON, verbose, slow, optional, asErrors bool
	cmd := &cobra.Command{
		Use:   "conformance --server HOST:PORT [--path DIR] [CODE|FAMILY|!CODE|!FAMILY]...",
		Short: "Check an NFSv4 server against the RFCs",
		Long: `Check an NFSv4 server against RFC 7530, 8881, 7862, 8275 and 8276. Each test has a
code (LOCK12) and checks one sentence of an RFC, which --list shows. Tests work
as root in directories of their own below --path, and remove them: the export must
be writable and must not squash root. The exit status is 1 if a test failed.`,
		Example: `  holdfast conformance --list
  holdfast conformance --server 127.0.0.1:2049 --path /export
  holdfast conformance --server 127.0.0.1:2049 --minor 1 LOCK '!LOCK21'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			tests, err := chooseTests(args)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if list {
				for _, t := range tests {
					fmt.Fprintf(out, "%-9s %-14s %s: %s\n", t.Code, t.Flags, t.RFC, t.Says)
				}
				return nil
			}
			if server == "" {
				return errors.New("--server HOST:PORT is needed")
			}
			target := suite.Target{Dial: client.TCP(server), Path: strings.Trim(path, "/"), Slow: slow, Optional: optional}
			var results []suite.Result
			for _, minor := range minors {
				if minor > 2 {
					return fmt.Errorf("minor version %d is not allowed; there are 0, 1 and 2", minor)
				}
				for _, t := range tests {
					if !t.Minor(uint32(minor)) {
						continue
					}
					if err := cmd.Context().Err(); err != nil {
						return err
					}
					res := suite.RunTest(cmd.Context(), target, t, uint32(minor))
					results = append(results, res)
					if !asJSON && !asErrors && (verbose || res.Outcome == suite.Fail) {
						fmt.Fprintln(out, res)
					}
				}
			}
			if asErrors {
				page, _ := suite.ErrorPage(results)
				fmt.Fprint(out, page)
				return nil
			}
			return reportTests(out, results, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&server, "server", "", "server to check, HOST:PORT")
	f.StringVar(&path, "path", "", "directory on the server to work in")
	f.UintSliceVar(&minors, "minor", []uint{0, 1, 2}, "minor versions to check")
	f.BoolVar(&list, "list", false, "list the tests")
	f.BoolVar(&asJSON, "json", false, "print the results as JSON")
	f.BoolVar(&asErrors, "errors", false, "print which errors of which operations were provoked, as Markdown")
	f.BoolVarP(&verbose, "verbose", "v", false, "print each test, not only failures")
	f.BoolVar(&slow, "slow", false, "run tests that wait for leases to end, too")
	f.BoolVar(&optional, "optional", false, "run tests of what the RFCs recommend or allow, too")
	return cmd
}

// chooseTests returns the tests that the words of a command line name: codes
// and families, and with '!' those to leave out. No word names all.
func chooseTests(words []string) ([]suite.Test, error) {
	all := suite.All()
	names := func(word string, t *suite.Test) bool {
		return strings.EqualFold(word, t.Code) || strings.EqualFold(word, t.Family())
	}
	var with, without []string
	for _, w := range words {
		name, not := strings.CutPrefix(w, "!")
		if !slices.ContainsFunc(all, func(t suite.Test) bool { return names(name, &t) }) {
			return nil, fmt.Errorf("there is no test or family %q; --list shows all", name)
		}
		if not {
			without = append(without, name)
		} else {
			with = append(with, name)
		}
	}
	var chosen []suite.Test
	for _, t := range all {
		is := func(word string) bool { return names(word, &t) }
		if (len(with) == 0 || slices.ContainsFunc(with, is)) && !slices.ContainsFunc(without, is) {
			chosen = append(chosen, t)
		}
	}
	return chosen, nil
}

// reportTests prints the sum, or all results as JSON. The error says that
// tests failed.
func reportTests(out io.Writer, results []suite.Result, asJSON bool) error {
	type row struct {
		Code     string   `json:"code"`
		Minor    uint32   `json:"minor"`
		Outcome  string   `json:"outcome"`
		RFC      string   `json:"rfc"`
		Says     string   `json:"says"`
		Messages []string `json:"messages,omitempty"`
		Seconds  float64  `json:"seconds"`
	}
	count := map[suite.Outcome]int{}
	rows := make([]row, 0, len(results))
	for _, r := range results {
		count[r.Outcome]++
		rows = append(rows, row{r.Test.Code, r.Minor, strings.ToLower(string(r.Outcome)), r.Test.RFC, r.Test.Says, r.Messages, r.Took.Round(time.Microsecond).Seconds()})
	}
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(rows); err != nil {
			return err
		}
	} else {
		for _, r := range results {
			if r.Outcome == suite.Skip {
				fmt.Fprintf(out, "skipped %s v4.%d: %s\n", r.Test.Code, r.Minor, strings.Join(r.Messages, "; "))
			}
		}
		fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", count[suite.Pass], count[suite.Fail], count[suite.Skip])
	}
	if n := count[suite.Fail]; n > 0 {
		return fmt.Errorf("%d tests failed", n)
	}
	return nil
}
