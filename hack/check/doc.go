// Package check contains only tests. They check the conventions of this repository:
// its layout, the size of its files, its imports, its vocabulary and its links.
// Both "make verify" and "make test" run them.
//
// Each rule is a function that reads parsed sources and returns findings. Two tests
// use each rule. The first test applies the rule to the repository. The second test
// proves that the rule can fail. It applies the rule to a small package in testdata
// that breaks the rule. Comments of the form "// want: text" in the small package
// state the expected findings.
//
//	layout_test.go    which files exist at the top level and in the core, and which files contain methods
//	size_test.go      number of lines of files, functions and the README
//	imports_test.go   which package may import which
//	places_test.go    code that only one file may contain: randomness, timing formulas, requests, client-go's elector
//	mutex_test.go     code that must not run while a mutex is held
//	words_test.go     retired words (words.txt)
//	exported_test.go  exported names (exported.txt), helper functions that exist twice
//	docs_test.go      package comments and comments of exported names
//	links_test.go     links, paths and commands in Markdown
//	readme_test.go    whether the code in Markdown compiles
package check
