package flip

import "github.com/drctl/drctl/internal/recovery"

// Result of a check.
type Result string

// The results. Unknown is never success.
const (
	Proven    Result = "proven"
	Disproved Result = "disproved"
	Unknown   Result = "unknown"
)

// Check is one line of a proof.
type Check struct {
	Name     string `json:"name"`
	Result   Result `json:"result"`
	Observed string `json:"observed"`
	Expected string `json:"expected"`
}

// VerifyReport is the answer of `drctl cnpg verify`.
type VerifyReport struct {
	APIVersion string  `json:"apiVersion"`
	Kind       string  `json:"kind"`
	Namespace  string  `json:"namespace"`
	Name       string  `json:"name"`
	Plan       string  `json:"plan"`
	Result     Result  `json:"result"`
	Checks     []Check `json:"checks"`
}

func newReport(namespace, name, plan string) *VerifyReport {
	return &VerifyReport{
		APIVersion: recovery.APIVersion, Kind: "VerifyReport", Namespace: namespace, Name: name, Plan: plan, Result: Proven, Checks: []Check{},
	}
}

// add puts a check in and keeps the worst result: disproved before unknown before proven.
func (r *VerifyReport) add(checks ...Check) {
	for _, check := range checks {
		r.Checks = append(r.Checks, check)
		if check.Result == Disproved || (check.Result == Unknown && r.Result == Proven) {
			r.Result = check.Result
		}
	}
}

// failed are the checks that are not proven.
func (r *VerifyReport) failed() []Check {
	var failed []Check
	for _, check := range r.Checks {
		if check.Result != Proven {
			failed = append(failed, check)
		}
	}
	return failed
}

func judged(name, observed, expected string, ok bool) Check {
	result := Disproved
	if ok {
		result = Proven
	}
	return Check{Name: name, Result: result, Observed: observed, Expected: expected}
}

func unknown(name, expected string, err error) Check {
	return Check{Name: name, Result: Unknown, Observed: err.Error(), Expected: expected}
}

// HasUnknown reports whether something could not be told.
func (r *VerifyReport) HasUnknown() bool {
	for _, check := range r.Checks {
		if check.Result == Unknown {
			return true
		}
	}
	return false
}
