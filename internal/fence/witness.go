package fence

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// The two kinds that a fence is made of are watched apart, so each has an order of its own.
const kinds = 2

// rank learns in which order the fences of a proof were written. One alone needs no order. It tries until
// it is told or nobody waits any more: an order that isn't known proves nothing.
func (r *round) rank() {
	for len(r.members) > 1 {
		err := r.readOrder()
		if err == nil {
			break
		}
		for _, member := range r.members {
			member.meet(err)
		}
		time.Sleep(probePause)
		r.part()
	}
	r.chooseWitnesses()
}

func (r *round) readOrder() error {
	first := r.members[0]
	for kind, gvr := range [kinds]schema.GroupVersionResource{policiesResource(), bindingsResource()} {
		items, err := first.api.ListWhere(first.asker, gvr, "", managedByKey+"="+managedByValue+","+MarkKey)
		if err != nil {
			return err
		}
		versions := map[string]string{}
		for i := range items {
			versions[items[i].GetName()] = items[i].GetResourceVersion()
		}
		for _, member := range r.members {
			member.written[kind] = versions[member.spec.PolicyName()]
		}
	}
	return nil
}

// chooseWitnesses takes the fence whose policy and the one whose binding were written last; mostly that is
// one. An API server follows each kind in the order in which it was written: one that refuses the
// witnesses knows all the others.
// Source: k8s.io/apiserver pkg/admission/plugin/policy/generic/policy_source.go: one list from both caches.
func (r *round) chooseWitnesses() {
	r.witnesses = nil
	for kind := range kinds {
		if len(r.members) == 0 {
			return
		}
		last := slices.MaxFunc(r.members, func(a, b *proof) int { return olderFirst(a.written[kind], b.written[kind]) })
		if !slices.Contains(r.witnesses, last) {
			r.witnesses = append(r.witnesses, last)
		}
	}
}

// olderFirst puts a fence that does not stand before all others.
func olderFirst(a, b string) int {
	order, err := resourceversion.CompareResourceVersion(a, b)
	switch {
	case err == nil:
		return order
	case a == "" && b != "":
		return -1
	case a != "" && b == "":
		return 1
	}
	return 0
}
