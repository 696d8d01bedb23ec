package gitops

import (
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"sigs.k8s.io/yaml"
)

// longestName is that of a DNS label. Source: argo-cd applicationset/utils/utils.go SanitizeName.
const longestName = 253

// renderAll renders every text of a template, keys included.
func (x *expansion) renderAll(content any, parameters map[string]any) (any, error) {
	switch content := content.(type) {
	case string:
		return x.render(content, parameters)
	case []any:
		rendered := make([]any, 0, len(content))
		for _, item := range content {
			value, err := x.renderAll(item, parameters)
			if err != nil {
				return nil, err
			}
			rendered = append(rendered, value)
		}
		return rendered, nil
	case map[string]any:
		rendered := make(map[string]any, len(content))
		for key, item := range content {
			name, err := x.render(key, parameters)
			if err != nil {
				return nil, err
			}
			if rendered[name], err = x.renderAll(item, parameters); err != nil {
				return nil, err
			}
		}
		return rendered, nil
	default:
		return content, nil
	}
}

// render renders one text, by Go's templates or by plain replacement.
func (x *expansion) render(text string, parameters map[string]any) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	if !x.spec.GoTemplate {
		return replaced(text, parameters), nil
	}
	parsed, err := template.New("").Option(x.spec.options()...).Funcs(functions()).Parse(text)
	if err != nil {
		return "", fmt.Errorf("parse %q: %w", text, err)
	}
	var out strings.Builder
	if err := parsed.Execute(&out, parameters); err != nil {
		return "", fmt.Errorf("execute %q: %w", text, err)
	}
	return out.String(), nil
}

// options are those that Go knows: an unknown one panics.
func (s *setSpec) options() []string {
	var known []string
	for _, option := range s.GoTemplateOptions {
		switch option {
		case "missingkey=default", "missingkey=invalid", "missingkey=zero", "missingkey=error":
			known = append(known, option)
		}
	}
	return known
}

// functions are those of Argo CD's templates: sprig without what looks at this computer, and a few more. Not among
// them is slugify, whose choice of words is a library's own: a template with it fails, which is told.
// Source: argo-cd applicationset/utils/utils.go, template_functions.go.
func functions() template.FuncMap {
	all := sprig.TxtFuncMap()
	for _, name := range []string{"env", "expandenv", "getHostByName"} {
		delete(all, name)
	}
	all["normalize"] = normalized
	all["toYaml"] = func(value any) (string, error) {
		encoded, err := yaml.Marshal(value)
		return strings.TrimSuffix(string(encoded), "\n"), err
	}
	all["fromYaml"] = func(text string) (map[string]any, error) {
		var value map[string]any
		err := yaml.Unmarshal([]byte(text), &value)
		return value, err
	}
	all["fromYamlArray"] = func(text string) ([]any, error) {
		var value []any
		err := yaml.Unmarshal([]byte(text), &value)
		return value, err
	}
	return all
}

// replaced puts parameters in place of {{NAME}}; one that there is not stays as it stands.
// Source: argo-cd applicationset/utils/utils.go Replace.
func replaced(text string, parameters map[string]any) string {
	return regexp.MustCompile(`\{\{([^{}]*)\}\}`).ReplaceAllStringFunc(text, func(found string) string {
		if value, known := parameters[strings.TrimSpace(found[2:len(found)-2])]; known {
			return fmt.Sprint(value)
		}
		return found
	})
}

// normalized makes a DNS name of a text. Source: argo-cd applicationset/utils/utils.go SanitizeName.
func normalized(name string) string {
	name = regexp.MustCompile(`[^-a-z0-9.]`).ReplaceAllString(strings.ToLower(name), "-")
	return strings.Trim(name[:min(len(name), longestName)], "-.")
}
