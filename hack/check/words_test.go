package check

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// retired is one entry of words.txt: a word or phrase that must not be used.
type retired struct {
	kind        string
	parts       []string // the words of the field text, in lower case; the last word may end in *
	text        string
	scope       string // the folder to which the entry applies; "" if it applies everywhere
	replacement string
}

// An exception permits one retired word in one file or folder.
type exception struct {
	text, path string
	line       int
	used       bool
}

// A vocabulary is the content of words.txt: the retired words and the exceptions.
type vocabulary struct {
	retired    []retired
	exceptions []*exception
}

func TestWords_RetiredWordsDoNotReturn(t *testing.T) {
	file, err := os.Open("words.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	v, err := readVocabulary(bufio.NewScanner(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources(t) {
		report(t, v.inSource(s))
	}
	paths, err := files(".md", ".yaml", ".yml", ".json", ".tmpl", ".sh", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if name := filepath.Base(path); filepath.Ext(name) == "" && name != "Makefile" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		report(t, v.inText(path, string(text)))
	}
	for _, e := range v.exceptions {
		if !e.used {
			t.Errorf("words.txt:%d: nothing in %s needs the exception for %q", e.line, e.path, e.text)
		}
	}
}

// readVocabulary parses the lines of words.txt.
func readVocabulary(lines *bufio.Scanner) (*vocabulary, error) {
	v := &vocabulary{}
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		kind, rest, _ := strings.Cut(line, " ")
		if kind == "allow" {
			entry, _, reason := strings.Cut(rest, " because ")
			fields := strings.Fields(entry)
			if !reason || len(fields) < 2 {
				return nil, fmt.Errorf("words.txt:%d: want: allow TEXT PATH because REASON", n)
			}
			last := len(fields) - 1
			v.exceptions = append(v.exceptions, &exception{text: strings.Join(fields[:last], " "), path: fields[last], line: n})
			continue
		}
		text, replacement, found := strings.Cut(rest, "->")
		text = strings.TrimSpace(text)
		if !found || text == "" || !slices.Contains([]string{"word", "prose", "name", "ident", "type", "phrase"}, kind) {
			return nil, fmt.Errorf("words.txt:%d: want: KIND TEXT -> REPLACEMENT", n)
		}
		text, scope, _ := strings.Cut(text, " in:")
		text = strings.TrimSpace(text)
		r := retired{kind: kind, text: text, scope: scope, replacement: strings.TrimSpace(replacement)}
		for _, word := range strings.Fields(text) {
			r.parts = append(r.parts, split(word)...)
		}
		v.retired = append(v.retired, r)
	}
	return v, lines.Err()
}

var wordPattern = regexp.MustCompile(`[\pL\pN]+\*?`)

// split returns the words of text in lower case. It splits names in camel case into
// several words.
func split(text string) []string {
	var words []string
	for _, word := range wordPattern.FindAllString(text, -1) {
		runes, start := []rune(word), 0
		for i := 1; i < len(runes); i++ {
			lowerToUpper := unicode.IsUpper(runes[i]) && !unicode.IsUpper(runes[i-1])
			endOfAcronym := unicode.IsUpper(runes[i]) && i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if lowerToUpper || endOfAcronym {
				words, start = append(words, strings.ToLower(string(runes[start:i]))), i
			}
		}
		words = append(words, strings.ToLower(string(runes[start:])))
	}
	return words
}

// matches reports whether words contains the parts of r, one directly after the
// other.
func (r *retired) matches(words []string) bool {
	for i := 0; i+len(r.parts) <= len(words); i++ {
		if slices.EqualFunc(r.parts, words[i:i+len(r.parts)], func(part, word string) bool {
			prefix, open := strings.CutSuffix(part, "*")
			return part == word || open && strings.HasPrefix(word, prefix)
		}) {
			return true
		}
	}
	return false
}

// find returns one message for each entry of words.txt that matches words. It uses only
// entries that have one of the given kinds and apply to the file at path. For the kinds
// ident and type, the parameter words contains the parts of one name, and an entry must
// match the whole name.
func (v *vocabulary) find(path string, words []string, kinds ...string) []string {
	var found []string
	for _, r := range v.retired {
		part := (r.kind == "ident" || r.kind == "type") && len(words) != len(r.parts)
		elsewhere := r.scope != "" && !under(path, []string{r.scope})
		if slices.Contains(kinds, r.kind) && !part && !elsewhere && r.matches(words) && !v.allowed(r.text, path) {
			found = append(found, fmt.Sprintf("%q is retired: use %s", r.text, r.replacement))
		}
	}
	return found
}

func (v *vocabulary) allowed(text, path string) bool {
	for _, e := range v.exceptions {
		if e.text == text && under(path, []string{e.path}) {
			e.used = true
			return true
		}
	}
	return false
}

// inSource finds retired words in a Go file. It checks the name of the file, the
// names that the file declares, its comments and its strings.
func (v *vocabulary) inSource(s *source) []finding {
	var found []finding
	note := func(n ast.Node, texts []string) {
		for _, text := range texts {
			found = append(found, s.at(n, "%s", text))
		}
	}
	note(s.file.Name, v.find(s.path, split(strings.TrimSuffix(s.base(), ".go")), "word", "name", "ident"))
	for id, isType := range declared(s.file) {
		kinds := []string{"word", "name", "ident"}
		if isType {
			kinds = append(kinds, "type")
		}
		note(id, v.find(s.path, split(id.Name), kinds...))
	}
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			text, _, _ := strings.Cut(c.Text, "// want: ")
			note(c, v.find(s.path, split(text), "word", "prose", "phrase"))
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				note(n, v.find(s.path, split(n.Value), "word", "prose", "phrase"))
			}
		}
		return true
	})
	slices.SortStableFunc(found, func(a, b finding) int { return a.line - b.line })
	return found
}

// inText finds retired words in a file that does not contain Go code. It checks the
// name of the file and each line.
func (v *vocabulary) inText(path, text string) []finding {
	var found []finding
	for _, message := range v.find(path, split(filepath.Base(path)), "word", "name") {
		found = append(found, finding{path: path, text: message})
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		for _, message := range v.find(path, split(line), "word", "prose", "phrase", "name") {
			found = append(found, finding{path: path, line: n, text: message})
		}
	}
	return found
}

// declared returns the names that file declares. The value of a name in the map is true
// if the name belongs to a type.
func declared(file *ast.File) map[*ast.Ident]bool {
	names := map[*ast.Ident]bool{file.Name: false}
	add := func(e ast.Expr) {
		if id, ok := e.(*ast.Ident); ok && id.Name != "_" {
			names[id] = false
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			if n.Name != nil {
				add(n.Name)
			}
		case *ast.FuncDecl:
			add(n.Name)
		case *ast.TypeSpec:
			names[n.Name] = true
		case *ast.ValueSpec:
			for _, id := range n.Names {
				add(id)
			}
		case *ast.Field:
			for _, id := range n.Names {
				add(id)
			}
		case *ast.LabeledStmt:
			add(n.Label)
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, e := range n.Lhs {
					add(e)
				}
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				add(n.Key)
				add(n.Value)
			}
		}
		return true
	})
	return names
}

func TestWords_RetiredWordsCanReturn(t *testing.T) {
	const list = `
# A comment.
word   gnome*          -> garden figure
name   giveUp         -> runCtx
ident  stage          -> test cluster
ident  tent in:manager -> shelter
type   work           -> termRun
prose  mumbles           -> reports
phrase who sings late -> a late singer
allow  gnome* leaderelection/other.go because a test needs it
`
	v, err := readVocabulary(bufio.NewScanner(strings.NewReader(list)))
	if err != nil {
		t.Fatal(err)
	}
	all := example(t, "words", core)
	var found []finding
	for _, s := range all {
		found = append(found, v.inSource(s)...)
	}
	compare(t, all, found)

	for text, want := range map[string]int{
		"the successor":                  0,
		"The gnomes of\nthe gnome":       2,
		"He mumbles: giveUpLocked":       2,
		"A candidate who sings\nlate":    0,
		"A candidate who sings late":     1,
		"the stage of the work; say yes": 0,
		"`gnomic`, chair, an `eGnome`":   1,
	} {
		if got := v.inText("page.md", text); len(got) != want {
			t.Errorf("%q: %v, want %d findings", text, got, want)
		}
	}
	if got := v.inText("gnome.md", ""); len(got) != 1 {
		t.Errorf("gnome.md: %v, want one finding", got)
	}
}

func TestWords_NamesAreSplit(t *testing.T) {
	for text, want := range map[string][]string{
		"gnomeTTL":          {"gnome", "ttl"},
		"HTTPServer":        {"http", "server"},
		"TestGnome_IsFound": {"test", "gnome", "is", "found"},
		"lost-leader.md":    {"lost", "leader", "md"},
		"gnome*":            {"gnome*"},
	} {
		if got := split(text); !slices.Equal(got, want) {
			t.Errorf("split(%q) = %q, want %q", text, got, want)
		}
	}
}
