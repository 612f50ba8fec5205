using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("Npcsdk.Unity")]
[assembly: InternalsVisibleTo("Npcsdk.Tests")]
