package lab

import (
	"context"
	"fmt"
	"path"
	"reflect"
	"strings"
	"text/template"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// application renders the set's template for a folder. The functions are those of Go's templates alone; Argo CD
// has sprig's besides. Source: applicationset/utils/utils.go, RenderTemplateParams; generators/git.go.
func (s *argoSet) application(directory string) (*unstructured.Unstructured, error) {
	segments := []any{}
	for _, segment := range strings.Split(directory, "/") {
		segments = append(segments, segment)
	}
	parameters := map[string]any{"path": map[string]any{
		"path": directory, "basename": path.Base(directory), "basenameNormalized": path.Base(directory), "segments": segments,
	}}
	rendered, err := s.render(s.Spec.Template, parameters)
	if err != nil {
		return nil, fmt.Errorf("lab: template of ApplicationSet %s for %s: %w", s.Metadata.Name, directory, err)
	}
	from, _ := rendered.(map[string]any)
	metadata, _ := from["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
	}
	app := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": metadata, "spec": from["spec"],
	}}
	app.SetNamespace(s.Metadata.Namespace)
	return app, nil
}

// render fills in every text below a value.
func (s *argoSet) render(value any, parameters map[string]any) (any, error) {
	switch value := value.(type) {
	case map[string]any:
		filled := map[string]any{}
		for key, each := range value {
			text, err := s.render(each, parameters)
			if err != nil {
				return nil, err
			}
			filled[key] = text
		}
		return filled, nil
	case []any:
		filled := []any{}
		for _, each := range value {
			text, err := s.render(each, parameters)
			if err != nil {
				return nil, err
			}
			filled = append(filled, text)
		}
		return filled, nil
	case string:
		parsed, err := template.New("").Option(s.Spec.GoTemplateOptions...).Parse(value)
		if err != nil {
			return nil, err
		}
		var out strings.Builder
		err = parsed.Execute(&out, parameters)
		return out.String(), err
	}
	return value, nil
}

// judgeSet writes what came of a set into its conditions. Source: applicationset_controller.go,
// setApplicationSetStatusCondition.
func (a *ArgoCD) judgeSet(ctx context.Context, live *unstructured.Unstructured, trouble error) error {
	condition := func(kind, status, reason, message string) any {
		return map[string]any{"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": a.timestamp().UTC().Format("2006-01-02T15:04:05Z")}
	}
	conditions := []any{
		condition("ErrorOccurred", "False", "ApplicationSetUpToDate", "All applications have been generated successfully"),
		condition("ParametersGenerated", "True", "ParametersGenerated", "Successfully generated parameters for all Applications"),
		condition("ResourcesUpToDate", "True", "ApplicationSetUpToDate", "All applications have been generated successfully"),
	}
	if trouble != nil {
		conditions = []any{
			condition("ErrorOccurred", "True", "ApplicationGenerationFromParamsError", trouble.Error()),
			condition("ResourcesUpToDate", "False", "ApplicationGenerationFromParamsError", trouble.Error()),
		}
	}
	before := conditionOf(live, "ErrorOccurred")
	after := conditions[0].(map[string]any)
	if reflect.DeepEqual(before, map[string]string{"status": after["status"].(string), "reason": after["reason"].(string), "message": after["message"].(string)}) {
		return nil
	}
	changed := live.DeepCopy()
	if err := unstructured.SetNestedSlice(changed.Object, conditions, "status", "conditions"); err != nil {
		return fmt.Errorf("lab: status of ApplicationSet %s: %w", live.GetName(), err)
	}
	_, err := a.setClient().UpdateStatus(ctx, changed, metav1.UpdateOptions{FieldManager: "argocd-applicationset-controller"})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return wrap(err, "status of ApplicationSet "+live.GetName())
}
