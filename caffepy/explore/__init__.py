"""`caffepy explore`: a net, its layers and what they see, in a browser.

`model` is what is looked at, `diagram` its graph, `looks` what can be seen, in functions of a net that scripts may call
too; `answers` says it to the page, `sessions`, `worker`, `guard` and `app` serve it, `page/` is what the browser runs.
"""
