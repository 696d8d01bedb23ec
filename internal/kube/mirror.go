package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	// PlanKey marks everything that a plan creates, as a label and as an annotation, with the plan's ID as
	// value.
	PlanKey = "drctl.dev/plan"
	// managedByKey and managedByValue stand on what belongs to drctl alone.
	managedByKey   = "app.kubernetes.io/managed-by"
	managedByValue = "drctl"

	planDataKey    = "plan.json"
	journalDataKey = "journal.jsonl"
)

// PlanMirror keeps the copy of each plan in a ConfigMap drctl-plan-ID, so that another person can go on
// with it from another computer. Neither a plan nor its journal holds a secret.
type PlanMirror struct {
	client    *Client
	namespace string
}

var _ operation.Mirror = (*PlanMirror)(nil)

// Mirror is the mirror in one namespace. For "" it reads and removes over all of them, and can't save.
func (c *Client) Mirror(namespace string) operation.Mirror {
	return &PlanMirror{client: c, namespace: namespace}
}

func configMapsResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
}

func planConfigMapName(id string) string { return "drctl-plan-" + id }

// Save writes plan and journal as a whole.
func (m *PlanMirror) Save(ctx context.Context, plan operation.Plan, journal []byte) error {
	what := fmt.Sprintf("keep a copy of plan %s in the cluster", plan.ID)
	if m.namespace == "" {
		return fmt.Errorf("%s: no namespace was given", what)
	}
	encoded, err := json.Marshal(plan)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	data := map[string]any{planDataKey: string(encoded), journalDataKey: string(journal)}
	body, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{
			"namespace": m.namespace, "name": planConfigMapName(plan.ID), "labels": map[string]any{managedByKey: managedByValue, PlanKey: plan.ID},
		},
		"data": data,
	}}
	// A plan without any entry is most likely not there yet.
	if len(journal) == 0 {
		err = m.create(ctx, object)
		if errors.Is(err, recovery.ErrExists) {
			err = m.patch(ctx, object, body)
		}
	} else {
		err = m.patch(ctx, object, body)
		if errors.Is(err, recovery.ErrNotFound) {
			err = m.create(ctx, object)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (m *PlanMirror) create(ctx context.Context, object *unstructured.Unstructured) error {
	_, err := m.client.Create(ctx, configMapsResource(), object, WriteOptions{})
	return err
}

func (m *PlanMirror) patch(ctx context.Context, object *unstructured.Unstructured, body []byte) error {
	_, err := m.client.PatchMerge(ctx, configMapsResource(), m.namespace, object.GetName(), body, WriteOptions{})
	return err
}

// Load gives a plan and its journal as they were saved last.
func (m *PlanMirror) Load(ctx context.Context, id string) (operation.Plan, []byte, error) {
	object, err := m.find(ctx, id)
	if err != nil {
		return operation.Plan{}, nil, err
	}
	plan, err := planOf(object)
	if err != nil {
		return operation.Plan{}, nil, err
	}
	journal, _, _ := unstructured.NestedString(object.Object, "data", journalDataKey)
	return plan, []byte(journal), nil
}

// find reads the ConfigMap of a plan, by label where the namespace is not known.
func (m *PlanMirror) find(ctx context.Context, id string) (*unstructured.Unstructured, error) {
	if m.namespace != "" {
		return m.client.Get(ctx, configMapsResource(), m.namespace, planConfigMapName(id))
	}
	items, err := m.client.ListWhere(ctx, configMapsResource(), "", planSelector()+"="+id)
	if err != nil {
		return nil, err
	}
	for i := range items {
		if items[i].GetName() == planConfigMapName(id) {
			return &items[i], nil
		}
	}
	return nil, &recovery.Problem{
		What: fmt.Sprintf("find plan %s in the cluster", id),
		Why:  "no namespace holds a copy of it",
		Next: "see drctl plans; a plan that is finished or aborted has no copy any more",
		Err:  recovery.ErrNotFound,
	}
}

// planSelector picks the mirrors of all plans.
func planSelector() string { return managedByKey + "=" + managedByValue + "," + PlanKey }

// List gives all plans that have a copy. One that can't be decoded is an error: a plan must not be
// overlooked.
func (m *PlanMirror) List(ctx context.Context) ([]operation.Plan, error) {
	items, err := m.client.ListWhere(ctx, configMapsResource(), m.namespace, planSelector())
	if err != nil {
		return nil, err
	}
	plans := make([]operation.Plan, 0, len(items))
	for i := range items {
		if !strings.HasPrefix(items[i].GetName(), planConfigMapName("")) {
			continue // the plan has made another ConfigMap
		}
		plan, err := planOf(&items[i])
		if err != nil {
			return nil, err
		}
		plans = append(plans, plan)
	}
	return plans, nil
}

func planOf(object *unstructured.Unstructured) (operation.Plan, error) {
	text, _, _ := unstructured.NestedString(object.Object, "data", planDataKey)
	var plan operation.Plan
	err := json.Unmarshal([]byte(text), &plan)
	if err == nil {
		err = plan.Validate()
	}
	if err != nil {
		return operation.Plan{}, &recovery.Problem{
			What: fmt.Sprintf("read the plan in ConfigMap %s/%s", object.GetNamespace(), object.GetName()),
			Why:  err.Error(),
			Next: "use a drctl as new as the one that made the plan, or remove the ConfigMap when the plan is done",
			Err:  errors.Join(recovery.ErrDamaged, err),
		}
	}
	return plan, nil
}

// Remove removes the copy of a plan; it is no error when there is none.
func (m *PlanMirror) Remove(ctx context.Context, id string) error {
	object, err := m.find(ctx, id)
	if err == nil {
		err = m.client.Delete(ctx, configMapsResource(), object.GetNamespace(), object.GetName(),
			Preconditions{UID: string(object.GetUID())}, metav1.DeletePropagationBackground)
	}
	if errors.Is(err, recovery.ErrNotFound) {
		return nil
	}
	return err
}
