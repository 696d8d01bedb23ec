package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
)

// Lose ends the cluster with all that is on it, the data in its volumes included; the backups and the Git tree stay.
// It is for a lab whose cluster has a stack of its own.
func (l *RecoveryLab) Lose() error {
	if l.cluster == l.Stack {
		return errors.New("lab: the cluster shares the stack of its backups: give RecoveryOptions.Cluster")
	}
	if err := errors.Join(l.cluster.Close(), os.RemoveAll(l.Provisioner.dir)); err != nil {
		return fmt.Errorf("lab: lose the cluster: %w", err)
	}
	l.Kubernetes, l.CNPG, l.Provisioner, l.Node, l.client = nil, nil, nil, nil, nil
	return nil
}

// Again starts a new, empty cluster on another stack in the place of the lost one: its node reaches the same backups,
// and CloudNativePG's operator runs, with its definitions and none of the others. It holds no Secret, no storage class
// and no database.
func (l *RecoveryLab) Again(ctx context.Context, s *Stack) (err error) {
	l.cluster = s
	if l.Kubernetes, err = s.ControlPlane(ctx, ControlPlaneOptions{ControllerManager: true, Scheduler: true, ControllerQPS: 200}); err != nil {
		return err
	}
	if l.client, err = kubernetes.NewForConfig(l.Kubernetes.RESTConfig()); err != nil {
		return fmt.Errorf("lab: client: %w", err)
	}
	if l.CNPG, err = s.CNPGWith(ctx, l.Kubernetes, CNPGOptions{Reconcile: true}); err != nil {
		return err
	}
	return l.startNode(ctx, RecoveryOptions{Scheduler: true})
}

// Definitions are those of ApplyCRDs that are of one of the groups: what a GitOps tree brings in place of the lab.
func Definitions(ctx context.Context, groups ...string) ([]*unstructured.Unstructured, error) {
	modules, err := fetchModules(ctx)
	if err != nil {
		return nil, err
	}
	all, err := modules.All()
	return slices.DeleteFunc(all, func(definition *unstructured.Unstructured) bool {
		group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
		return !slices.Contains(groups, group)
	}), err
}
