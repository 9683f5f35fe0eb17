<#
.SYNOPSIS
Installs voicemesh @VERSION@ for Windows, after its checksum was verified.

.PARAMETER Program
voicemesh, the command (default), or voicemesh-signaling, the server.

.PARAMETER To
The folder to install into; %LOCALAPPDATA%\Programs\voicemesh by default, which is added to the user's PATH.

.PARAMETER From
A mirror of the release's files.
#>
param(
    [ValidateSet('voicemesh', 'voicemesh-signaling')] [string] $Program = 'voicemesh',
    [string] $To = (Join-Path $env:LOCALAPPDATA 'Programs\voicemesh'),
    [string] $From = '@REPOSITORY@/releases/download/v@VERSION@'
)

Set-StrictMode -Version 3
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

function Install-Voicemesh {
    # Windows on ARM runs programs for x86-64 as well.
    if (-not [Environment]::Is64BitOperatingSystem) { throw 'There is no voicemesh for 32-bit Windows.' }
    [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12

    $name = "$Program-@VERSION@-x86_64-pc-windows-gnu"
    $work = Join-Path ([IO.Path]::GetTempPath()) ([Guid]::NewGuid())
    New-Item -ItemType Directory $work | Out-Null
    try {
        $archive = Join-Path $work "$name.zip"
        Invoke-WebRequest -UseBasicParsing "$From/$name.zip" -OutFile $archive
        Invoke-WebRequest -UseBasicParsing "$From/SHA256SUMS" -OutFile (Join-Path $work 'SHA256SUMS')

        $line = Get-Content (Join-Path $work 'SHA256SUMS') | Where-Object { ($_ -split '\s+\*?', 2)[1] -eq "$name.zip" }
        if (-not $line) { throw "SHA256SUMS has no checksum of $name.zip: nothing was installed." }
        $wanted = ($line -split '\s+')[0]
        $found = (Get-FileHash -Algorithm SHA256 $archive).Hash
        if ($found -ne $wanted) { throw "The checksum of $name.zip is $found and should be ${wanted}: nothing was installed." }

        Expand-Archive $archive -DestinationPath $work
        New-Item -ItemType Directory -Force $To | Out-Null
        Copy-Item -Force (Join-Path $work "$name\$Program.exe") $To
    }
    finally {
        Remove-Item -Recurse -Force $work
    }

    $path = [Environment]::GetEnvironmentVariable('Path', 'User')
    if (($path -split ';') -notcontains $To) {
        [Environment]::SetEnvironmentVariable('Path', (@($path, $To) | Where-Object { $_ }) -join ';', 'User')
        Write-Output "$To was added to your PATH; a new terminal finds $Program."
    }
    Write-Output "$Program @VERSION@ is in $To."
}

Install-Voicemesh
