package cloudnativepg

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ownsSpec reports whether the fields of a manager's entry include any of spec.
func ownsSpec(fields *metav1.FieldsV1) bool {
	if fields == nil {
		return false
	}
	var owned map[string]json.RawMessage
	if err := json.Unmarshal(fields.GetRawBytes(), &owned); err != nil {
		return false
	}
	_, there := owned["f:spec"]
	return there
}
